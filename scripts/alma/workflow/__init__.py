"""The machinery around the recipe: config, code hash, job, locks, resume, sharding, variants."""
