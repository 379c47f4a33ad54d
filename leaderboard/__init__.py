"""From records to tables: statistics, aggregation, rendering. Reads records only."""
