"""The commands of `kt`, each in a file that is loaded only when it is called: `kt --help` answers at once."""
