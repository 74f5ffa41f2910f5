package hsm

import "time"

var MayLogIn = mayLogIn

// SetClock replaces the clock by which logins are spaced.
func (v *Vault) SetClock(now func() time.Time) { v.now = now }
