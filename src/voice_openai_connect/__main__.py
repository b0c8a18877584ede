"""`python -m voice_openai_connect` is `voice-connect`."""

from voice_openai_connect.cli import main

if __name__ == "__main__":
    main()
