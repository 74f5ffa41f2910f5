package keys

import "context"

// Step does what [Authority.Run] does each time.
func (a *Authority) Step(ctx context.Context) error {
	_, err := a.step(ctx)
	return err
}
