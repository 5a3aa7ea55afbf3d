"""Figures: drawings made of numbers and labels; they know no run and no report."""
