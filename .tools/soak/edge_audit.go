package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
)

// auditor reads the audit records of the edge.
type auditor struct {
	into  *io.PipeWriter
	fatal func(error)

	allowed, refused atomic.Int64
}

func newAuditor(users []*user, fatal func(error)) *auditor {
	from, into := io.Pipe()
	a := &auditor{into: into, fatal: fatal}
	go a.read(from, users)
	return a
}

// read sees that each request is recorded as that of the user who made it: the
// paths of plain requests have the name.
func (a *auditor) read(from io.Reader, users []*user) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Bytes()
		if !bytes.Contains(line, []byte(`"request_id":`)) {
			continue
		}
		if !bytes.Contains(line, []byte(`"decision":"allowed"`)) {
			a.refused.Add(1)
			continue
		}
		a.allowed.Add(1)
		for _, u := range users {
			if bytes.Contains(line, []byte(`/`+u.name)) && !bytes.Contains(line, []byte(`"subject":"hm-`+u.name+`"`)) {
				a.fatal(fmt.Errorf("the record of a request of %s does not name %s", u.name, u.name))
			}
		}
	}
	_, _ = io.Copy(io.Discard, from) // or the edge would wait
}

func (a *auditor) records() int64 { return a.allowed.Load() + a.refused.Load() }
