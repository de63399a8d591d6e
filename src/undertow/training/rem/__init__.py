"""Fine-tuning a video generator to answer with masks (REM, arXiv 2410.23287; FlowRVS for residual targets)."""
