"""What every command is made of: settings, signals, exit codes, the terminal."""
