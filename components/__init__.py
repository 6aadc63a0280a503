"""Everything Gradio: the frame, the shared widgets and one module per stage."""
