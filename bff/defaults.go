package bff

import (
	"time"
)

const (
	defaultPresenter = "bff"
	defaultDataDir   = "data"
	defaultMaxLinks  = 6

	maxLife   = 5 * time.Minute
	maxWindow = 4 * time.Minute // a principal from the cache has a minute left
)

// setDefaults fills in what is left open.
func (c *Config) setDefaults() {
	or(&c.Presenter, defaultPresenter)
	or(&c.DataDir, defaultDataDir)
	or(&c.Listen.Public, "127.0.0.1:8080")
	or(&c.Listen.Mesh, "127.0.0.1:9443")
	or(&c.Listen.Admin, "127.0.0.1:9444")
	or(&c.Audit.OnFailure, RefuseRequests)
	or(&c.Audit.Refusals, 1000)
	or(&c.Limits.HeaderBytes, 32<<10)
	or(&c.Limits.HeaderTimeout, 10*time.Second)
	or(&c.Limits.IdleTimeout, 2*time.Minute)
	or(&c.Limits.Streams, 250)
	or(&c.Limits.PrincipalLife, maxLife)
	or(&c.Limits.MintWindow, time.Minute)
	or(&c.Limits.Credentials, 10_000)
	or(&c.Limits.RevocationMemory, 30*24*time.Hour)
	or(&c.Limits.LinkKeyLife, 24*time.Hour)
	or(&c.Limits.Watchers, 20_000)
	or(&c.Limits.Requests, 10_000)
	or(&c.Limits.ClientRequests, max(1, c.Limits.Requests/4))
	or(&c.Limits.FailedCredentials, 60)
	or(&c.Limits.BodyTimeout, 30*time.Second)
	or(&c.Limits.TakeTimeout, 5*time.Minute)
	or(&c.Limits.Drain, 30*time.Second)
	or(&c.Keys.Life, 30*24*time.Hour)
	or(&c.Keys.Lead, 25*time.Minute)
	or(&c.Store.Outage, 5*time.Minute)
	if c.Store.URL != "" {
		or(&c.Store.Replicas, 3)
	}
	if c.Enrich.URL != "" {
		c.Enrich.setDefaults()
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		r.HealthCheck.setDefaults()
		or(&r.Auth, AuthRequired)
		if r.Auth == AuthNone {
			continue // nothing is minted: what is written about it is a mistake
		}
		or(&r.Mode, ModeLinked)
		or(&r.Mint, MintWindow)
	}
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
