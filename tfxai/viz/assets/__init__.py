"""Templates and style sheets of HTML pages."""
