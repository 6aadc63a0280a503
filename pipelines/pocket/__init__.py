"""The recipe of the pocket pair: facts → corpus → tokenizer → pretraining → SFT → evaluation → model card."""
