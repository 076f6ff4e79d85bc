"""What happens in the cluster: controllers, scheduler, kubelets and the requests that flow through its services."""
