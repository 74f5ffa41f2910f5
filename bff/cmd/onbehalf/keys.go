package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
)

type keysCmd struct {
	Public keysPublic `cmd:"" help:"Print the public key that services verify principals with, as a JSON Web Key Set."`
}

type keysPublic struct {
	configFile
}

// Run is called by kong.
func (k *keysPublic) Run(stdout io.Writer) error {
	cfg, err := bff.LoadConfig(k.Path)
	if err != nil {
		return err
	}
	authority, err := keys.Read(cfg.Issuer, keys.Place{File: cfg.SigningKey, Dir: cfg.DataDir})
	switch {
	case errors.Is(err, fs.ErrNotExist) && cfg.SigningKey == "":
		return errors.New("data_dir: the key is not made yet; onbehalf serve makes it")
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n", authority.JWKS())
	return err
}
