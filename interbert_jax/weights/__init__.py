"""Weights of others come in, and ours go out.

Official InterBERT files, Hugging Face BERT, safetensors and files of PyTorch
are read without running their code; other people's layouts exist here only.
An export is a folder that is shared and read back.

Read init_from.py (what a run can start from), source.py (which kind of weights
a path has), then the file of the kind in question.
"""
