"""`python -m emo_harness`, which is `emo`; `accelerate launch -m emo_harness run ...` needs it."""

from emo_harness.cli.main import main

if __name__ == "__main__":
    main()
