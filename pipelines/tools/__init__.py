"""Tools that answer what no document holds (prices, rates, stock): MCP servers and Python functions, called to read.

Imports nothing, so that the example server in here starts quickly. Begin with `toolbox.open_toolbox`.
"""
