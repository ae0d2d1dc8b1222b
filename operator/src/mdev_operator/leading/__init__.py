"""One operator acts at a time, and the API server refuses whoever led before."""
