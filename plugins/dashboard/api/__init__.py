"""The JSON API behind the dashboard's pages."""
