"""The procedure of Emo_LLM, step by step, so that its tables can be laid beside ours."""
