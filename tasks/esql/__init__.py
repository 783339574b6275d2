"""The embedded Elasticsearch: a folder of events that answers ES|QL through the official client.

It re-exports nothing, so that importing `errors` alone loads neither DuckDB nor the parser.
"""
