package observed

// window is how many requests are remembered of each side, until the other one is
// read.
const window = 50_000

// join brings together what a service and the edge say about a request: by the
// request id, which services forward, or by the principal. The zero value is empty.
type join struct {
	waiting recent[*waiting] // of services
	entered recent[entry]    // of edges
}

// waiting is a call that has not been found in the edge's records.
type waiting struct {
	finding *Finding
	done    bool
}

// entry is how a request came in.
type entry struct{ route, client, issuer string }

// add notes a line, with its finding if it has one.
func (j *join) add(r *Report, f *Finding, l *line) {
	keys := l.keys()
	if l.edge() {
		e := entry{l.Route, l.Client, l.CredentialIssuer}
		if f != nil {
			r.enter(f, e)
		}
		for _, key := range keys {
			for _, w := range j.waiting.take(key) {
				if !w.done {
					w.done = true
					r.enter(w.finding, e)
				}
			}
			j.entered.put(key, e)
		}
		return
	}
	if f == nil {
		return
	}
	w := &waiting{finding: f}
	for _, key := range keys {
		if all := j.entered.all[key]; len(all) > 0 {
			r.enter(f, all[len(all)-1])
			return
		}
	}
	for _, key := range keys {
		j.waiting.put(key, w)
	}
}

// enter counts a call of the finding that came in by an edge.
func (r *Report) enter(f *Finding, e entry) {
	if _, known := f.Routes[e.route]; known || len(f.Routes) < maxEach {
		f.Routes[e.route]++
	}
	if e.client != "" {
		r.name(f, f.Clients, e.client)
	}
	if _, known := f.Issuers[e.issuer]; e.issuer != "" && (known || len(f.Issuers) < maxEach) {
		f.Issuers[e.issuer]++
	}
}

// recent remembers what was put last. The zero value is empty.
type recent[T any] struct {
	all  map[string][]T
	keys []string
	next int
}

// maxSame is how many of one key are remembered.
const maxSame = 8

func (r *recent[T]) put(key string, v T) {
	if r.all == nil {
		r.all = make(map[string][]T)
	}
	if same, there := r.all[key]; there {
		if len(same) < maxSame {
			r.all[key] = append(same, v)
		}
		return
	}
	if len(r.keys) < window {
		r.keys = append(r.keys, key)
	} else {
		delete(r.all, r.keys[r.next])
		r.keys[r.next] = key
		r.next = (r.next + 1) % window
	}
	r.all[key] = []T{v}
}

// take returns what is remembered under the key, and forgets it.
func (r *recent[T]) take(key string) []T {
	v := r.all[key]
	if v != nil {
		r.all[key] = nil // its place is given up in its turn
	}
	return v
}
