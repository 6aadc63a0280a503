"""Everything that is not Gradio: usable from a notebook, and free of any import of the interface."""
