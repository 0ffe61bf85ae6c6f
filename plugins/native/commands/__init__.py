"""Commands that look into sessions of the native engine; entry points of the group `shoal.commands`."""
