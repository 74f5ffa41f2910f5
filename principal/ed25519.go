package principal

import (
	"crypto/ed25519"
	"errors"
	"math/big"
	"slices"
)

// The curve's field prime and constant d (RFC 8032, section 5.1).
var (
	edPrime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	edD     = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), edPrime)
		return d.Mod(d.Mul(d, big.NewInt(-121665)), edPrime)
	}()
)

// checkEd25519 refuses what crypto/ed25519 accepts as a public key and should
// not be one. It is slow and runs when a key is loaded.
func checkEd25519(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return errors.New("principal: an Ed25519 key is not 32 bytes")
	}
	le := slices.Clone(key)
	le[31] &= 0x7f // the top bit is the sign of x
	slices.Reverse(le)
	y := new(big.Int).SetBytes(le)
	if y.Cmp(edPrime) >= 0 {
		return errors.New("principal: an Ed25519 key is not canonical")
	}
	// x² = (y²-1) / (dy²+1)
	yy := new(big.Int).Mul(y, y)
	den := new(big.Int).Mul(edD, yy)
	den.ModInverse(den.Add(den, big.NewInt(1)), edPrime)
	xx := new(big.Int).Sub(yy, big.NewInt(1))
	xx.Mod(xx.Mul(xx, den), edPrime)
	if xx.Sign() != 0 && big.Jacobi(xx, edPrime) != 1 {
		return errors.New("principal: an Ed25519 key is not a point of the curve")
	}
	if lowOrder(xx, yy.Mod(yy, edPrime)) {
		return errors.New("principal: an Ed25519 key is of low order")
	}
	return nil
}

// lowOrder reports whether eight times the point is the identity. The points
// with x = 0 or y = 0 are those whose order divides 4, so a point whose order
// divides 8 is one of them or becomes one when doubled.
func lowOrder(xx, yy *big.Int) bool {
	if xx.Sign() == 0 || yy.Sign() == 0 {
		return true
	}
	xx, yy = doubleSquares(xx, yy)
	return xx.Sign() == 0 || yy.Sign() == 0
}

// doubleSquares returns the squares of the coordinates of twice a point:
// x' = 2xy / (1+dx²y²), y' = (y²+x²) / (1-dx²y²).
func doubleSquares(xx, yy *big.Int) (xx2, yy2 *big.Int) {
	mod := func(v *big.Int) *big.Int { return v.Mod(v, edPrime) }
	product := mod(new(big.Int).Mul(xx, yy))
	dxy := mod(new(big.Int).Mul(edD, product))
	square := func(v *big.Int) *big.Int { return mod(v.Mul(v, v)) }
	over := func(num, den *big.Int) *big.Int {
		return mod(num.Mul(num, new(big.Int).ModInverse(mod(den), edPrime)))
	}
	xx2 = over(new(big.Int).Mul(big.NewInt(4), product), square(new(big.Int).Add(big.NewInt(1), dxy)))
	yy2 = over(square(new(big.Int).Add(yy, xx)), square(new(big.Int).Sub(big.NewInt(1), dxy)))
	return xx2, yy2
}
