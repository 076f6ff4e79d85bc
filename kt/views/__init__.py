"""What a person sees of incidents on a terminal: words, the list, the screen to decide on, the live views."""
