"""A page that shows what is in a data set: the paper's figures B, C and E for any source of clips."""
