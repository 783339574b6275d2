"""How steps run under Prefect."""
