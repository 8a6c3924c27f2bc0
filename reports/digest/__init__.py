"""A digest: what a site did in a time, as a page or a mail that stands by itself."""
