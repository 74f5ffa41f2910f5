package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
)

// The ports of an instance.
const (
	plainPort   = iota // HTTP/1.1
	grpcPort           // grpc-go
	connectPort        // Connect, HTTP/1.1 and h2c
	ports
)

// The groups of instances.
const (
	calm   = "calm"   // are restarted, and nothing may fail
	killed = "killed" // are killed; what is under way there then fails
	steady = "steady" // go on for as long as the run
)

// places are the addresses of instances, two of each group.
type places map[string][2][ports]string

// newPlaces finds ports that are free, below those that outgoing connections are
// given: an instance that is started anew needs its own.
func newPlaces() (places, error) {
	at, used := make(places), make(map[string]bool)
	for _, group := range []string{calm, killed, steady} {
		var two [2][ports]string
		for i := range two {
			for port := range two[i] {
				address, err := freeBelow(used)
				if err != nil {
					return nil, err
				}
				two[i][port] = address
			}
		}
		at[group] = two
	}
	return at, nil
}

func freeBelow(used map[string]bool) (string, error) {
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 12_000+rand.N(20_000))
		if used[address] {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			used[address] = true
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("no port is free")
}

// endpoints are those of a group, as a configuration file has them.
func (at places) endpoints(group string, port int) string {
	two := at[group]
	return fmt.Sprintf("[%q, %q]", two[0][port], two[1][port])
}

// A request's host says which group it is for, and by which protocol that is
// reached.
func (at places) routes() []string {
	var all []string
	for _, group := range []string{calm, killed, steady} {
		for _, r := range []struct {
			kind, match, scheme, mode string
			port                      int
		}{
			{"plain", "path_prefix: /", "http", "mode: relay", plainPort},
			{"grpc", "service: " + echoService, "h2c", "audience: " + echoAudience, grpcPort},
			{"connect", "service: " + echoService, "h2c", "audience: " + echoAudience + ", mint: request", connectPort},
			{"old", "service: " + echoService, "http", "mode: relay", connectPort},
		} {
			all = append(all, fmt.Sprintf("  - {host: %[1]s-%[2]s, %[3]s, upstream: \"%[4]s://%[1]s-%[2]s\", endpoints: %[5]s, %[6]s}",
				group, r.kind, r.match, r.scheme, at.endpoints(group, r.port), r.mode))
		}
	}
	return all
}

// arguments are those of the process of an instance.
func (at places) arguments(group string, i int) []string {
	addresses := at[group][i]
	return []string{instanceName(group, i), strings.Join(addresses[:], ",")}
}
