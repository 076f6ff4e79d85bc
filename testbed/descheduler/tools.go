//go:build tools

// Package tools pins the descheduler that bench-termination runs beside KT.
package tools

import _ "sigs.k8s.io/descheduler/cmd/descheduler"
