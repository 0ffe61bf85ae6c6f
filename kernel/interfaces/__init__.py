"""The sockets that plugins fit into: one small abstract class a file, its abilities as protocols beside it."""
