// Command pause holds a pod's namespaces open and does nothing else.
//
// Comes in: SIGINT or SIGTERM. Goes out: exit 0.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}
