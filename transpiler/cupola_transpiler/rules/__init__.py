"""The conversion rules, one a file; `cupola rules` lists them."""
