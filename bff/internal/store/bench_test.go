package store_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// BenchmarkPut is of durable writes to an embedded store, by one caller and by
// many.
func BenchmarkPut(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprint(callers, " callers"), func(b *testing.B) {
			s, err := store.Open(b.Context(), store.Settings{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			value := make([]byte, 100)
			var keys atomic.Int64
			b.SetParallelism(callers)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.Create(b.Context(), fmt.Sprint("k.", keys.Add(1)), value); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s, err := store.Open(b.Context(), store.Settings{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Create(b.Context(), "k", make([]byte, 100)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Get(b.Context(), "k"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is of what an embedded store costs in memory, and in time at the
// start of a process.
func BenchmarkOpen(b *testing.B) {
	for _, entries := range []int{0, 100_000} {
		b.Run(fmt.Sprint(entries, " entries"), func(b *testing.B) {
			settings := store.Settings{Dir: b.TempDir()}
			if err := store.Restore(b.Context(), settings, bytes.NewReader(store.Backup(entries, 100))); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				before := resident(b)
				s, err := store.Open(b.Context(), settings)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Pulse(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(resident(b)-before)/1024, "MiB")
				s.Close()
			}
		})
	}
}

// resident is the memory of this process in KiB, without what Go has to give
// back.
func resident(b *testing.B) int {
	b.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc here")
	}
	_, after, _ := bytes.Cut(status, []byte("VmRSS:"))
	n, err := strconv.Atoi(string(bytes.Fields(after)[0]))
	if err != nil {
		b.Fatal(err)
	}
	return n
}
