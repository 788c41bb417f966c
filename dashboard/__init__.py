"""The dashboard: a Streamlit application that reads run folders and campaigns, and starts runs."""
