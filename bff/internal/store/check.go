package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Severity tells how much a [Finding] matters. The zero value is no severity.
type Severity int

const (
	// OK is as it should be.
	OK Severity = iota + 1
	// Warning is not as it should be, or cannot be seen; nothing is lost by it now.
	Warning
	// Error can lose what was acknowledged, or keeps the store from working.
	Error
)

// String returns "ok", "warning" or "error".
func (s Severity) String() string {
	switch s {
	case OK:
		return "ok"
	case Warning:
		return "warning"
	case Error:
		return "error"
	default:
		return "none"
	}
}

// Finding is one thing that was looked at, and what to change if it is not OK.
type Finding struct {
	Severity Severity
	Text     string
}

// Report is what was found about a store.
type Report struct {
	Findings []Finding
}

// Worst returns the gravest severity of all findings.
func (r *Report) Worst() Severity {
	worst := OK
	for _, f := range r.Findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

func (r *Report) addf(s Severity, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{s, fmt.Sprintf(format, args...)})
}

const (
	// lowSpace is when to make space before it is needed.
	lowSpace = 1 << 30
	// sysPatience is how long servers may take to say how they are set.
	sysPatience = time.Second
)

// Check looks at how safe the store is: where its entries lie, whether every
// write is synced, on how many servers and whether they keep up, whether a
// majority agrees to a write, and how much space is left. The error is
// [ErrUnavailable] if it cannot look at all.
func (s *Store) Check(ctx context.Context) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*timeout)
	defer cancel()
	var r Report
	now, err := s.refresh(ctx)
	if err != nil {
		return r, s.unavailable(err)
	}
	r.addf(OK, "the bucket %s lies in files: %d entries and markers, %d bytes", bucket, now.info.State.Msgs, now.info.State.Bytes)
	s.checkBase(&r, now.epoch)
	if s.embedded != nil {
		s.checkEmbedded(&r)
	} else {
		checkReplicas(&r, now.info)
		checkServers(ctx, &r, now.session.conn)
		checkLimits(ctx, &r, now.session.js)
	}
	begun := s.now()
	if _, err := s.Pulse(ctx); err != nil {
		r.addf(Error, "nothing can be written: %v", err)
	} else {
		r.addf(OK, "a write was acknowledged in %v", s.now().Sub(begun).Round(10*time.Microsecond))
	}
	return r, nil
}

func (s *Store) checkBase(r *Report, epoch *epoch) {
	if now := newBase(s.now(), 0); epoch.base > now+1<<16*60 {
		ahead := time.Duration((epoch.base-now)>>16) * time.Second
		r.addf(Warning, "the sequence base %d lies %v ahead of this machine's clock: one of the two clocks was wrong; sequences go on growing from there", epoch.base, ahead)
		return
	}
	r.addf(OK, "the sequence base is %d", epoch.base)
}

func (s *Store) checkEmbedded(r *Report) {
	r.addf(OK, "every write is synced before it is acknowledged")
	r.addf(Warning, "it is embedded, so this disk has the only copy: make backups, or use an external store of 3 servers")
	free, err := freeSpace(s.embedded.dir)
	switch {
	case err != nil:
		r.addf(Warning, "the free space of the disk cannot be seen: %v", err)
	case free < s.embedded.minFree:
		r.addf(Error, "the disk is full, %d MiB are left: free at least %d MiB, nothing is written until then", free>>20, s.embedded.minFree>>20)
	case free < lowSpace:
		r.addf(Warning, "%d MiB are left on the disk: make space", free>>20)
	default:
		r.addf(OK, "%d MiB are left on the disk", free>>20)
	}
}

func checkReplicas(r *Report, info *jetstream.StreamInfo) {
	cluster := info.Cluster
	if cluster == nil || info.Config.Replicas < 3 {
		r.addf(Error, "there are %d copies, so one server that is lost loses what was acknowledged or stops all writes: run 3 servers as a cluster and set the stream %s to 3 replicas", info.Config.Replicas, streamName)
		return
	}
	servers := map[string]bool{cluster.Leader: cluster.Leader != ""}
	present := 0
	if cluster.Leader != "" {
		present = 1
	} else {
		r.addf(Error, "no server leads the bucket: start the servers that are down")
	}
	for _, p := range cluster.Replicas {
		servers[p.Name] = true
		switch {
		case p.Offline:
			r.addf(Error, "the server %s is down: start it", p.Name)
		case !p.Current:
			r.addf(Warning, "the server %s lags behind by %d, or is down: see its log if that stays so", p.Name, p.Lag)
		default:
			present++
		}
	}
	r.quorum(info.Config.Replicas, len(servers), present)
}

func (r *Report) quorum(replicas, servers, present int) {
	majority := replicas/2 + 1
	switch {
	case servers < replicas:
		r.addf(Error, "%d copies lie on %d servers: add servers to the cluster", replicas, servers)
	case present < majority:
		r.addf(Error, "%d of %d servers are there and up to date, a majority is %d: start the others", present, replicas, majority)
	case present == majority && present < replicas:
		r.addf(Warning, "%d of %d servers are there and up to date: if one more is lost nothing can be written", present, replicas)
	default:
		r.addf(OK, "%d of %d servers are there and up to date", present, replicas)
	}
}

// checkServers asks all servers how they sync. They answer a client of the
// system account only.
func checkServers(ctx context.Context, r *Report, conn *nats.Conn) {
	answers, err := askServers(ctx, conn)
	if err != nil || len(answers) == 0 {
		r.addf(Warning, "whether servers sync every write cannot be seen from this account: make sure that each has sync_interval: always in its jetstream settings")
		return
	}
	for _, a := range answers {
		switch {
		case a.Data.Disabled:
			r.addf(Error, "the server %s has no JetStream: see its log", a.Server.Name)
		case !a.Data.Config.SyncAlways:
			r.addf(Error, "the server %s syncs every %v only: set sync_interval: always in its jetstream settings", a.Server.Name, a.Data.Config.SyncInterval)
		default:
			r.addf(OK, "the server %s syncs every write", a.Server.Name)
		}
		if c := a.Data.Config; c.MaxStore > 0 && uint64(c.MaxStore) < a.Data.Store+lowSpace {
			r.addf(Warning, "the server %s uses %d MiB of %d MiB: raise max_file_store, or make space", a.Server.Name, a.Data.Store>>20, c.MaxStore>>20)
		}
	}
}

type serverAnswer struct {
	Server server.ServerInfo `json:"server"`
	Data   server.JSInfo     `json:"data"`
}

func askServers(ctx context.Context, conn *nats.Conn) ([]serverAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, sysPatience)
	defer cancel()
	inbox := conn.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // it ends with the connection, too
	if err := conn.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox, nil); err != nil {
		return nil, err
	}
	var answers []serverAnswer
	for len(answers) < 64 {
		m, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) { // nobody knows how many there are
			return answers, nil
		}
		if err != nil {
			return answers, err
		}
		var a serverAnswer
		if err := json.Unmarshal(m.Data, &a); err == nil && a.Server.ID != "" {
			answers = append(answers, a)
		}
	}
	return answers, nil
}

func checkLimits(ctx context.Context, r *Report, js jetstream.JetStream) {
	account, err := js.AccountInfo(ctx)
	if err != nil {
		r.addf(Warning, "the limits of the account cannot be seen: %v", err)
		return
	}
	limit, used := account.Limits.MaxStore, account.Store
	switch {
	case limit < 0:
		r.addf(OK, "the account has no limit of its own for files")
	case limit == 0, used > uint64(limit)/10*9:
		r.addf(Error, "the account may keep %d MiB in files and keeps %d MiB: raise its limit", limit>>20, used>>20)
	default:
		r.addf(OK, "the account keeps %d MiB of %d MiB in files", used>>20, limit>>20)
	}
}
