"""Kills processes of a real search for a long time, then asks the database whether all is as promised."""
