"""What the start-up of the studio is compared with: a Gradio page of eight tabs that says hello in each."""

import gradio as gr

with gr.Blocks() as page:
    for number in range(8):
        with gr.Tab(f"Tab {number + 1}"):
            name = gr.Textbox(label="Name")
            greeting = gr.Textbox(label="Greeting")
            gr.Button("Greet").click(lambda text: f"Hello, {text}!", name, greeting)

page.launch(server_name="127.0.0.1", ssr_mode=False)
