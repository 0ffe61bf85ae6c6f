"""What a dataset is to do, before anything is done: nodes, and the rules that make plans cheaper."""
