"""Selective transfer from several source tasks: a frozen teacher, a student, similarity weights, replayed actions."""
