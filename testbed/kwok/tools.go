//go:build tools

// Package tools pins kwok, which plays nodes and pods that no kubelet runs.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
