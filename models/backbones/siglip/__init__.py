"""SigLIP, and SigLIP 2 at fixed sizes."""
