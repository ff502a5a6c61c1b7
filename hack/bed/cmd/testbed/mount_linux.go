// Unmounting, on Linux.
//
// Comes in: a mount point. Goes out: it is gone from sight at once, even while somebody still holds a file in it.
package main

import "syscall"

func unmount(point string) error {
	return syscall.Unmount(point, syscall.MNT_DETACH)
}
