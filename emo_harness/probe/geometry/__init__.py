"""Where words lie in activation space: components, the plane of the axes, other models, steps."""
