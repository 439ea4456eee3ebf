"""Whole data sets: samples in, shards of maps out, on one machine or many."""
