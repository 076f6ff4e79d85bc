"""A campaign of incidents in large made-up applications, from a mechanism: queues, time-outs, retries, contention, probes."""
