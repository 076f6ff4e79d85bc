"""A campaign of incidents in large made-up applications: queues, time-outs, retries, contention, probes, alerts."""
