//go:build !linux

package doctor

func synchronised() (synchronised, known bool) { return false, false }

func shortLived(string) string { return "" }
