"""LEG and LEG-TV: a local linear model, estimated from structured noise."""
