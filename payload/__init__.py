"""What would run on board: cloud detection under a memory, time and power budget.

This package flies alone. It never imports the simulator, the dashboard, SimPy, Skyfield or
Streamlit, and torch only inside :mod:`payload.training`.
"""
